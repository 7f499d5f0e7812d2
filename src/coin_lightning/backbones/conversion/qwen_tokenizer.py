"""Qwen's tokenizer from its published ranks (qwen.tiktoken), without its own code and without tiktoken."""

import base64
import binascii
from pathlib import Path

from tokenizers import normalizers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import TikTokenConverter

from coin_lightning.errors import AssetError

SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
END = "<|endoftext|>"
MARKERS = (
    END, "<|im_start|>", "<|im_end|>", *(f"<|extra_{index}|>" for index in range(205)), "<ref>", "</ref>", "<box>",
    "</box>", "<quad>", "</quad>", "<img>", "</img>", "<imgpad>",
)  # fmt: skip
"""Behind the ranks, in this order."""


def ranks(file: Path) -> dict[bytes, int]:
    """Token -> its rank, as `base64 rank` in each line of a file.

    Raises:
        AssetError: the file is missing or is no such file; ranks are not 0, 1, 2 and so on.
    """
    try:
        pairs = [line.split() for line in file.read_bytes().splitlines() if line]
        found = {base64.b64decode(token, validate=True): int(rank) for token, rank in pairs}
    except OSError as error:
        raise AssetError(f"{file}: the tokenizer cannot be read ({error}); fetch it again") from error
    except (ValueError, binascii.Error) as error:
        raise AssetError(
            f"{file}: must hold a token in base64 and its rank in each line ({error}); fetch it again"
        ) from error
    if sorted(found.values()) != list(range(len(pairs))) or any(bytes([byte]) not in found for byte in range(256)):
        raise AssetError(f"{file}: its ranks have gaps, or a byte has none; it is cut off: fetch it again")
    return found


class _Converter(TikTokenConverter):
    @staticmethod
    def load_tiktoken_bpe(tiktoken_url: str) -> dict[bytes, int]:
        return ranks(Path(tiktoken_url))


def qwen_tokenizer(file: Path) -> PreTrainedTokenizerFast:
    """The tokenizer with all of Qwen-VL's markers.

    Raises:
        AssetError: see `ranks`.
    """
    made = _Converter(str(file), pattern=SPLIT, extra_special_tokens=list(MARKERS)).converted()
    made.normalizer = normalizers.NFC()
    return PreTrainedTokenizerFast(tokenizer_object=made, eos_token=END, pad_token=END)
