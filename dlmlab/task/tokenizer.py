"""The word-level tokenizer of mini-GSM: every word of the frames and every number 0-99 is one token.

Built with `tokenizers`, saved in the Hugging Face format, loaded by `AutoTokenizer`. Text is lower-cased and split
into words, numbers and signs, so that "Tina has 12+5 apples." needs no special spacing. A text is laid out as

    <|startoftext|> question <|answer|> solution <|endoftext|> <|endoftext|> ...

with the end mark as padding, as in LLaDA's fine-tuning (arXiv 2502.09992, section 2.3): the model learns the length of
an answer by predicting the padding.
"""

import json
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from dlmlab.task.frames import DISTRACTORS, NAMES, SITUATIONS

BOS, ANSWER, EOS, MASK, UNKNOWN = "<|startoftext|>", "<|answer|>", "<|endoftext|>", "<|mdm_mask|>", "<|unknown|>"
CHAT_TEMPLATE = (
    "{% for m in messages %}{% if m['role'] == 'user' %}<|startoftext|>{{ m['content'] | trim }}<|answer|>"
    "{% else %}{{ m['content'] | trim }}<|endoftext|>{% endif %}{% endfor %}"
)


def words() -> list[str]:
    """List every word and sign a mini-GSM text can hold, numbers apart, in alphabetical order."""
    frames = [f.text for s in SITUATIONS for f in (*s.openings, *s.steps, *s.questions)] + [f.text for f in DISTRACTORS]
    found = set(re.sub(r"\{\w\}", " ", " ".join(frames)).split()) | set(NAMES)
    found |= {thing for s in SITUATIONS for thing in s.objects}
    return sorted(found | {"+", "-", "*", "/", "=", ";", "####"})


def build_tokenizer() -> PreTrainedTokenizerFast:
    """Build the tokenizer: five special tokens, the numbers 0-99, the words."""
    entries = [EOS, BOS, ANSWER, MASK, UNKNOWN, *map(str, range(100)), *words()]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(entries)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"####|[0-9]+|[a-z]+|[^\s]"), behavior="removed", invert=True)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=EOS,
        mask_token=MASK,
        unk_token=UNKNOWN,
        additional_special_tokens=[ANSWER],
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def save_tokenizer(folder: str | Path, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
    """Write a tokenizer where `AutoTokenizer.from_pretrained(folder)` finds it, whether of Transformers 4 or 5.
    `max_length`: the longest text its model reads."""
    tokenizer.save_pretrained(folder)
    file = Path(folder) / "tokenizer_config.json"
    values = json.loads(file.read_text(encoding="utf-8"))
    if values.get("tokenizer_class") == "TokenizersBackend":  # Transformers 5's name of it, which 4 does not know
        values["tokenizer_class"] = "PreTrainedTokenizerFast"
        values.pop("backend", None)
    if isinstance(values.get("extra_special_tokens"), list):  # 4 expects a mapping under this name; both read the other
        values["additional_special_tokens"] = values.pop("extra_special_tokens")
    values["model_max_length"] = max_length
    file.write_text(
        json.dumps(values, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n"
    )
