"""Settings of a CLIP-style dual encoder, shared by the methods that build on one. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass

from store.settings import setting

# Mean and standard deviation of the channels of the images that CLIP was trained on, 0..255.
COLOURS = (122.7709, 116.7460, 104.0937), (68.5005, 66.6322, 70.3232)


@dataclass(frozen=True)
class ClipSettings:
    """Towers, texts, prompts and logit scale; the sizes are those of OpenAI's CLIP ViT-B/32."""

    image_encoder: str = setting(
        "clip",
        "The image encoder: `clip` for CLIP's own tower, or the name of a timm encoder. Pretrained CLIP weights are "
        "then used for the texts only.",
    )
    image_weights: str = setting(
        "", "Weights of a timm encoder: empty for random ones, `imagenet`, or the path of a checkpoint."
    )
    vision_layers: int = setting(12, "Transformer blocks of CLIP's image tower.", least=1)
    vision_width: int = setting(768, "Width of CLIP's image tower.", least=1)
    vision_heads: int = setting(12, "Attention heads of CLIP's image tower.", least=1)
    patch: int = setting(32, "Side of a patch of CLIP's image tower, in pixels.", least=1)
    text_layers: int = setting(12, "Transformer blocks of the text tower.", least=1)
    text_width: int = setting(512, "Width of the text tower.", least=1)
    text_heads: int = setting(8, "Attention heads of the text tower.", least=1)
    text_tokenizer: str = setting(
        "clip", "Tokenizer: `clip`, or the WordPiece of a BERT as hub name, folder, or all-MiniLM-L6-v2 (bundled)."
    )
    context: int = setting(77, "Tokens of a text, start and end token included; longer texts are cut.", least=1)
    embedding: int = setting(512, "Width of the space that images and texts share.", least=1)
    quick_gelu: bool = setting(True, "OpenAI's approximation of GELU; off for CLIPs that were trained without it.")
    sections: str = setting(
        "impression", "Sections of the report, joined by +; `a/b` takes b where the reports have no section a."
    )
    first_logit_scale: float = setting(
        14.285714, "Logit scale at the start: 1 / 0.07, as in CLIP. Pretrained CLIP weights bring their own.", above=0.0
    )
    max_logit_scale: float = setting(
        100.0, "Upper bound of the logit scale, as in CLIP's paper; 0 for none.", least=0.0
    )
    positive_prompt: str = setting(
        "{}", "Prompt for the presence of a finding. The directions of several prompts, joined by |, are averaged."
    )
    negative_prompt: str = setting("no {}", "Prompt for the absence of a finding, in the same form.")
    literal_no_finding: bool = setting(
        False, "Ask for the label No Finding with the prompt `no No Finding`, as the released code does."
    )
