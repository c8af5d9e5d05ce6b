"""Translate Multi30k from German to English, and score by BLEU under two protocols.

Trains on 29,000 pairs and tests on the 1,000 of 2016. A training that is stopped goes
on where its last epoch ended, when the same command is given again. See README.md.
"""

from __future__ import annotations

import re
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from _results import Results, as_text, options, spread, use_threads
from sacrebleu.metrics import BLEU
from skorch.callbacks import Callback

from skattn import AttentionTranslator, Checkpoint, get_architecture
from skattn.datasets import fetch_multi30k
from skattn.text import TokenEncoder

KEY = ("model", "decoding", "seed", "threads")

CHECKPOINTS = Path(__file__).parent / "checkpoints"

# The Transformer has the sizes of the published run, and more dropout.
SIZES: dict[str, dict[str, Any]] = {
    "transformer": {
        "d_model": 256,
        "num_heads": 8,
        "num_layers": 3,
        "d_ff": 512,
        "dropout": 0.3,
    },
    "rnn_seq2seq": {"d_model": 256, "score": "additive", "dropout": 0.3},
}

EPOCHS = {"transformer": 20, "rnn_seq2seq": 10}

BEAM = 5

# Words, clitics and marks, each by itself, about as spaCy splits English.
_TOKENS = re.compile(
    r"""[^\W_]+(?=n't\b)|n't\b|'(?:s|re|ve|ll|d|m)\b|\d+(?:[.,]\d+)+|\w+|[^\w\s]"""
)


class Pairs(NamedTuple):
    """Sentences and their translations."""

    source: list[str]
    target: list[str]


class Report(Callback):
    """Print the losses of each epoch."""

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Print one line."""
        last = net.history[-1]
        print(
            f"epoch {last['epoch']}: loss {last['train_loss']:.3f}, "
            f"validation {last['valid_loss']:.3f}, {last['dur']:.0f} s",
            flush=True,
        )


def tokens(sentence: str) -> str:
    """Split a sentence in lower case into tokens with a space between them."""
    return " ".join(_TOKENS.findall(sentence.lower()))


def scores(translations: list[str], references: list[str]) -> dict[str, Any]:
    """Compute BLEU of a corpus in three ways, with what sacrebleu calls each."""
    plain = BLEU(tokenize="none", smooth_method="none", force=True)
    lower, cased = BLEU(lowercase=True), BLEU()
    found = {}
    for name, bleu, change in (
        ("bleu_tokens", plain, tokens),
        ("bleu_lower", lower, str),
        ("bleu_cased", cased, str),
    ):
        both = [[change(each) for each in part] for part in (translations, references)]
        found[name] = bleu.corpus_score(both[0], both[1:]).score
        found[f"{name}_signature"] = str(bleu.get_signature())
    return found


def word_for_word(train: Pairs, sentences: list[str], n_rounds: int = 5) -> list[str]:
    """Translate each word by the most probable one of IBM's model 1.

    Brown et al., "The Mathematics of Statistical Machine Translation", Computational
    Linguistics 1993. Words keep the order of the source; unseen ones are copied.
    """
    split = re.compile(r"\w+|[^\w\s]").findall
    codes: list[dict[str, int]] = [{}, {}]
    sources, targets, counts = [], [], []
    for pair in zip(*train, strict=True):
        source, target = (
            np.array([known.setdefault(word, len(known)) for word in split(sentence)])
            for known, sentence in zip(codes, pair, strict=True)
        )
        sources.append(np.tile(source, len(target)))
        targets.append(np.repeat(target, len(source)))
        counts.append(np.full(len(target), len(source)))
    source, target = np.concatenate(sources), np.concatenate(targets)
    links, link = np.unique(source * len(codes[1]) + target, return_inverse=True)
    # One number for each word of a translation, to sum over what it may come from.
    place = np.repeat(np.arange(sum(map(len, counts))), np.concatenate(counts))
    heads = links // len(codes[1])
    probability = np.ones(len(links))
    for _ in range(n_rounds):
        share = probability[link]
        share /= np.bincount(place, share)[place]
        expected = np.bincount(link, share)
        probability = expected / np.bincount(heads, expected)[heads]
    order = np.argsort(probability)  # the best comes last, and stays
    best = dict(zip(heads[order].tolist(), links[order] % len(codes[1]), strict=True))
    words = list(codes[1])
    translations = []
    for sentence in sentences:
        known = [codes[0].get(word, word) for word in split(sentence)]
        found = [words[best[code]] if code in best else str(code) for code in known]
        translations.append(re.sub(r" (?=[^\w\s])", "", " ".join(found)))
    return translations


def make_translator(model: str, seed: int, args: Any) -> Any:
    """Make the estimator of a row."""
    path = args.checkpoints / f"multi30k-{model}-{seed}-{args.threads}.pt"
    return AttentionTranslator(
        get_architecture(model)(**SIZES[model]),
        token_encoder=TokenEncoder("bpe", vocabulary_size=8000),
        max_epochs=EPOCHS[model] if args.epochs is None else args.epochs,
        batch_size=128,
        precision=args.precision,
        callbacks=[Report(), Checkpoint(path)],
        num_threads=args.threads,
        random_state=seed,
    )


def train(translator: Any, data: dict[str, Pairs]) -> None:
    """Train a translator, or go on with its training."""
    train, dev = data["train"], data["dev"]
    translator.fit(train.source, train.target, X_val=dev.source, y_val=dev.target)
    if translator.net_.interrupted_:
        sys.exit("Stopped; the same command goes on after the last whole epoch.")


def evaluate(translator: Any, data: dict[str, Pairs]) -> dict[str, Any]:
    """Score on both held-out parts, and time the translation of the test part."""
    dev = scores(list(translator.predict(data["dev"].source)), data["dev"].target)
    start, cpu = time.perf_counter(), time.process_time()
    translations = list(translator.predict(data["test"].source))
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    losses = translator.history_[:, "valid_loss"]
    return {
        "dev_bleu_tokens": dev["bleu_tokens"],
        **scores(translations, data["test"].target),
        "decode_seconds": seconds,
        "decode_cpu_seconds": cpu,
        "epochs": len(losses),
        "best_epoch": int(np.argmin(losses)) + 1,
        "fit_seconds": sum(translator.history_[:, "dur"]),
        "precision": translator.precision,
    }


def measure_naive(data: dict[str, Pairs], results: Results, threads: int) -> None:
    """Score what needs no net."""
    for model in ("copy of the source", "word for word (IBM model 1)"):
        key = {"model": model, "decoding": "-", "seed": 0, "threads": threads}
        if not results.missing(**key):
            continue
        start, found = time.perf_counter(), {}
        for part in ("dev", "test"):
            source, target = data[part]
            is_copy = model.startswith("copy")
            made = source if is_copy else word_for_word(data["train"], source)
            found[part] = scores(made, target)
        results.add(
            **key,
            dev_bleu_tokens=found["dev"]["bleu_tokens"],
            **found["test"],
            fit_seconds=(time.perf_counter() - start) / 2,
            **versions(),
        )
        print(model, f"{found['test']['bleu_tokens']:.2f}", flush=True)


def versions() -> dict[str, str]:
    """Tell the versions of what is particular to this benchmark."""
    return {name: version(name) for name in ("sacrebleu", "tokenizers")}


def table(results: Results) -> tuple[list[str], list[list[str]]]:
    """Average over seeds."""
    header = ["model", "decoding", "threads", "seeds", "validation", "BLEU, tokens"]
    header += ["sacreBLEU, lower", "sacreBLEU, cased", "epochs", "fit (min)"]
    header += ["1,000 sentences (s)"]
    rows = []
    for labels, found in results.groups("model", "decoding", "threads").items():

        def mean(name: str, digits: int, found: Any = found) -> str:
            values = [float(row[name]) for row in found if row.get(name)]
            return spread(values, digits) if values else "-"

        bleu = ("dev_bleu_tokens", "bleu_tokens", "bleu_lower", "bleu_cased")
        minutes = np.mean([float(row["fit_seconds"]) / 60 for row in found])
        rows.append(
            [*labels, str(len(found)), *(mean(name, 2) for name in bleu)]
            + [mean("best_epoch", 0), f"{minutes:.1f}", mean("decode_seconds", 1)]
        )
    return header, rows


def main() -> None:
    """Run the benchmark."""
    parser = options(__doc__)
    parser.set_defaults(threads=1)
    parser.add_argument(
        "--model", nargs="+", default=list(SIZES), choices=SIZES, dest="models"
    )
    parser.add_argument(
        "--seed", type=int, nargs="+", default=[0], dest="seeds", metavar="SEED"
    )
    parser.add_argument(
        "--epochs", type=int, help=f"at most; unless told {EPOCHS}", metavar="N"
    )
    parser.add_argument(
        "--precision", default="bfloat16", choices=["float32", "bfloat16"]
    )
    parser.add_argument(
        "--checkpoints", type=Path, default=CHECKPOINTS, help="folder of trainings"
    )
    args = parser.parse_args()
    use_threads(args.threads)
    warnings.simplefilter("error")
    for told in ("Training was interrupted", r"\d+ of \d+ translations were cut off"):
        warnings.filterwarnings("default", told, UserWarning)
    results = Results("multi30k", KEY, args.force)
    data = {
        part: Pairs(*fetch_multi30k(part, return_X_y=True))
        for part in ("train", "dev", "test")
    }
    measure_naive(data, results, args.threads)
    decodings = {"greedy": 1, f"beam {BEAM}": BEAM}
    for model in args.models:
        for seed in args.seeds:
            keys = {
                decoding: {
                    "model": model,
                    "decoding": decoding,
                    "seed": seed,
                    "threads": args.threads,
                }
                for decoding in decodings
            }
            if not any(results.missing(**key) for key in keys.values()):
                continue
            translator = make_translator(model, seed, args)
            train(translator, data)
            for decoding, key in keys.items():
                translator.set_params(beam_size=decodings[decoding])
                found = evaluate(translator, data)
                results.add(**key, **found, **versions())
                print(model, decoding, seed, f"{found['bleu_tokens']:.2f}", flush=True)
    print(as_text(*table(results)))


if __name__ == "__main__":
    main()
