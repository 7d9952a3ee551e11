"""Text and tokenizer of the demo model: cleaning the books, training the BPE.

The books come one paragraph a line with `<|endoftext|>` between them. A small
model learns most from plain narrative, so headings become document breaks and
stray titles and a few paragraphs with period slurs are dropped. The tokenizer is
of the Qwen2 kind (NFC, Qwen2's regex, byte-level BPE) so that the demo takes the
same code path as a published checkpoint; only its vocabulary is smaller.

Used by train_demo.py and golden.py; it has no command line of its own.
"""

import json
import lzma
import re
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers
from tokenizers import pre_tokenizers, processors, trainers

END_OF_TEXT = "<|endoftext|>"
SPECIAL_TOKENS = [END_OF_TEXT, "<|im_start|>", "<|im_end|>"]

QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# A base model has no roles: the messages' texts follow one another as a story.
STORY_TEMPLATE = (
    "{%- for message in messages -%}"
    "{{- message['content'] -}}"
    "{%- if not loop.last -%}{{- '\\n\\n' -}}{%- endif -%}"
    "{%- endfor -%}"
)

NUMBERED_HEADING = re.compile(
    r"(chapter|book|part|story|adventure|scene|act)\s+([ivxlc]+|\d+)\b.{0,80}", re.I
)
BARE_NUMBER = re.compile(r"([IVXLC]+|\d+)\.?")
SENTENCE_END = re.compile(r"[.!?:;,'\"\-)]$")
PERIOD_SLURS = re.compile(
    r"\b(negro|darkie|injun|redskin|squaw|blackamoor|kaffir|chinaman|jews?\b)", re.I
)
SHORTEST_DOCUMENT_CHARS = 400


def is_heading(paragraph: str) -> bool:
    """Chapter numbers and titles in capitals; shouting in quotes is no heading."""
    if len(paragraph) > 120 or paragraph[0] in "\"'(":
        return False
    return (
        paragraph.isupper()
        or NUMBERED_HEADING.fullmatch(paragraph) is not None
        or BARE_NUMBER.fullmatch(paragraph) is not None
    )


def is_stray_title(paragraph: str) -> bool:
    return len(paragraph) < 60 and SENTENCE_END.search(paragraph) is None


def clean_documents(corpus: str) -> list[str]:
    """Chapters and tales as separate documents, paragraphs apart by a blank line."""
    documents = []
    for book in corpus.split(END_OF_TEXT):
        chapter: list[str] = []
        for paragraph in [*(p.strip() for p in book.split("\n\n")), "CHAPTER 0"]:
            if not paragraph or PERIOD_SLURS.search(paragraph):
                continue
            if is_heading(paragraph):
                text = "\n\n".join(chapter)
                if len(text) >= SHORTEST_DOCUMENT_CHARS:
                    documents.append(text)
                chapter = []
            elif chapter or not is_stray_title(paragraph):
                chapter.append(paragraph)
    return documents


def read_documents(path: Path) -> list[str]:
    return clean_documents(lzma.open(path, "rt", encoding="utf-8").read())


def train_tokenizer(documents: list[str], vocab_size: int) -> Tokenizer:
    """Byte-level BPE; the special tokens take the last ids, as Qwen2.5 has them."""
    tokenizer = Tokenizer(
        models.BPE(
            continuing_subword_prefix="",
            end_of_word_suffix="",
            fuse_unk=False,
            byte_fallback=False,
        )
    )
    byte_level = dict(add_prefix_space=False, trim_offsets=False, use_regex=False)
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(**byte_level),
        ]
    )
    tokenizer.post_processor = processors.ByteLevel(**byte_level)
    tokenizer.decoder = decoders.ByteLevel(**byte_level)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(documents, trainer)
    tokenizer.add_special_tokens(SPECIAL_TOKENS)
    assert tokenizer.get_vocab_size() == vocab_size, tokenizer.get_vocab_size()
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path, context_tokens: int) -> None:
    """Write tokenizer.json and a tokenizer_config.json of Qwen2.5's form."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    added = {
        str(tokenizer.token_to_id(token)): {
            "content": token,
            "lstrip": False,
            "normalized": False,
            "rstrip": False,
            "single_word": False,
            "special": True,
        }
        for token in SPECIAL_TOKENS
    }
    config = {
        "add_bos_token": False,
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": SPECIAL_TOKENS[1:],
        "bos_token": None,
        "chat_template": STORY_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": END_OF_TEXT,
        "errors": "replace",
        "model_max_length": context_tokens,
        "pad_token": END_OF_TEXT,
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }
    text = json.dumps(config, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")
