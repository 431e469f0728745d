"""The architectures of the tiny random-weight vision checkpoints: config and image processor, in their own words.

Widths around 32, two layers a stage, images of 32 to 96 pixels. As in ``rows.py``, large initial weights spread the
logits, so that answers do not hang on rounding.
"""

from typing import Any

Row = dict[str, Any]

_STD: Row = {"initializer_range": 0.3}
_VIT: Row = _STD | {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
_SQUARE: Row = {"size": {"height": 32, "width": 32}}
_RESNET: Row = {
    "embedding_size": 16,
    "hidden_sizes": [16, 16, 32, 32],
    "depths": [1, 1, 1, 1],
    "layer_type": "basic",
}
_BACKBONE: Row = _RESNET | {"model_type": "resnet", "out_features": ["stage4"]}
_DETR: Row = {
    "use_timm_backbone": False,
    "backbone_config": _BACKBONE,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "num_queries": 12,
    "init_std": 0.3,
}
_BOUNDED: Row = {"size": {"shortest_edge": 72, "longest_edge": 120}}

# Model type -> (config, class of the image processor, its arguments).
CLASSIFIER_ROWS: dict[str, tuple[Row, str, Row]] = {
    "vit": (_VIT, "ViTImageProcessor", _SQUARE),
    "deit": (
        _VIT,
        "DeiTImageProcessor",
        {"size": {"height": 36, "width": 36}, "crop_size": {"height": 32, "width": 32}},
    ),
    "swin": (
        _STD
        | {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
        "ViTImageProcessor",
        _SQUARE,
    ),
    "convnext": (
        _STD | {"hidden_sizes": [16, 16, 32, 32], "depths": [1, 1, 2, 1]},
        "ConvNextImageProcessor",
        {"size": {"shortest_edge": 64}},
    ),
    # No crop: height and width of its input are free.
    "resnet": (_RESNET, "BitImageProcessor", {"size": {"shortest_edge": 64}, "do_center_crop": False}),
}

DETECTOR_ROWS: dict[str, tuple[Row, str, Row]] = {
    "detr": (_DETR, "DetrImageProcessor", _BOUNDED),
    "conditional_detr": (_DETR, "ConditionalDetrImageProcessor", _BOUNDED),
    "yolos": (
        _VIT
        | {"image_size": [64, 96], "patch_size": 16, "num_detection_tokens": 12, "use_mid_position_embeddings": True},
        "YolosImageProcessor",
        _BOUNDED,
    ),
    "rt_detr": (
        {
            "backbone_config": {
                "model_type": "rt_detr_resnet",
                "embedding_size": 16,
                "hidden_sizes": [16, 16, 32, 32],
                "depths": [1, 1, 1, 1],
                "layer_type": "basic",
                "out_indices": [2, 3, 4],
            },
            "encoder_in_channels": [16, 32, 32],
            "d_model": 32,
            "encoder_hidden_dim": 32,
            "encoder_ffn_dim": 64,
            "decoder_ffn_dim": 64,
            "decoder_in_channels": [32, 32, 32],
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "decoder_layers": 2,
            "num_queries": 20,
            "initializer_range": 0.3,
        },
        "RTDetrImageProcessor",
        {"size": {"height": 96, "width": 96}},
    ),
}
