"""Images: from whatever names one (path, URL, base64, PIL) to the pixel values that the source model was trained on."""

from runtime.images.load import decode_image, load_image
from runtime.images.processor import ImageProcessor

__all__ = ["ImageProcessor", "decode_image", "load_image"]
