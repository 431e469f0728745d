"""summarization: text2text-generation under its own name (transformers 4.57)."""

from runtime.pipelines.text2text_generation import Text2TextGenerationPipeline


class SummarizationPipeline(Text2TextGenerationPipeline):
    """`pipe("long text")` -> `[{"summary_text": ...}]`."""

    task = "summarization"
    return_name = "summary"
