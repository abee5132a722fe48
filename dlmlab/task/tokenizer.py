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
EXAMPLES = (
    "ann buys 12 apples . then ann takes 5 more . how many apples does ann have now ?",
    "ben has 8 marbles . cara has twice as many as ben . how many marbles does cara have ?",
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


_READABLE = "it reads whole numbers 0-99 and the words of mini-GSM, for example:\n" + "\n".join(
    f"  {example}" for example in EXAMPLES
)


def _shown(value: object) -> str:
    """Write a value so that it can be recognised, in at most about 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]} ... ({len(text):,} characters)"


def _listed(strange: list[str]) -> str:
    """Name the first words, each once, and how many more there are."""
    different = list(dict.fromkeys(strange))
    more = f" and {len(different) - 8} more" if len(different) > 8 else ""
    return ", ".join(map(_shown, different[:8])) + more


def encode_prompt(tokenizer: PreTrainedTokenizerBase, question: str) -> list[int]:
    """Turn a question into prompt ids, ready for an answer: the chat template for one user turn.

    A mask token in the question is kept as a mask (infilling). Raises `ValueError` for what is no text, for an empty
    one, and listing the words the model has no token for, with examples of what it can read.
    """
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"a question is a text that is not empty, got {_shown(question)}; {_READABLE}")
    if strange := re.findall(r"[\ud800-\udfff]", question):  # half a character: the tokenizer cannot take it
        raise ValueError(f"the model has no token for {_listed(strange)}; {_READABLE}")
    turn = [{"role": "user", "content": question}]
    text = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    unknown = tokenizer.unk_token_id
    if unknown is not None and unknown in ids:
        spans = tokenizer(question, add_special_tokens=False, return_offsets_mapping=True)
        strange = [
            question[a:b] for i, (a, b) in zip(spans["input_ids"], spans["offset_mapping"], strict=True) if i == unknown
        ]
        raise ValueError(f"the model has no token for {_listed(strange)}; {_READABLE}")
    return ids


def decode_answer(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> str:
    """Turn answer ids into text, cut at the first end mark; masks stay visible."""
    return tokenizer.decode(ids, skip_special_tokens=False).partition(tokenizer.eos_token)[0].strip()
