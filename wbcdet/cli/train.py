"""The command ``wbcdet train``: classifier, networks to compare it with, detector."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from wbcdet.cli.options import EXIT_INTERRUPTED, Command, as_command, stop
from wbcdet.records import NOTICE
from wbcdet.training.config import ClassifierRecipe, DetectorRecipe, TrainingError
from wbcdet.utils.extras import missing
from wbcdet.utils.schemas import JsonObject

app = typer.Typer(
    no_args_is_help=True,
    help="Train the models on the prepared public pictures, or on your own prepared like them. "
    "Interrupted, by Ctrl-C or a crash? Give the same command again: it goes on where it was. "
    f"{NOTICE}",
)

_Prepared = Annotated[
    Path, typer.Option(metavar="DIR", help="Folder that 'wbcdet data prepare' made.")
]
_Out = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the run, for checkpoints, weights and card. Default: runs/classifier, "
        "runs/detector, or runs/NAME for another network.",
        show_default=False,
    ),
]
_Device = Annotated[
    str, typer.Option(metavar="auto|cpu|cuda", help="Where to train; auto takes a GPU if it can.")
]
_LeaveOut = Annotated[
    list[str] | None,
    typer.Option(metavar="LAB", help="Laboratory to leave out; may be given several times."),
]
_Workers = Annotated[int, typer.Option(min=0, help="Processes that prepare the pictures.")]
_CLASSIFIER, _DETECTOR = ClassifierRecipe(), DetectorRecipe()


@app.command(cls=Command, epilog=NOTICE)
@as_command
def classifier(
    arch: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="leucocytenet, which ships; or to compare: leucocytenet-v1, vgg16, resnet50, "
            "densenet201, mobilenetv3, inception-resnet-v2, efficientnet-lite0.",
        ),
    ] = _CLASSIFIER.arch,
    prepared: _Prepared = Path("prepared"),
    out: _Out = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs.")] = _CLASSIFIER.epochs,
    crops: Annotated[int, typer.Option(min=1, help="Crops in an epoch.")] = _CLASSIFIER.crops,
    batch: Annotated[int, typer.Option(min=2, help="Crops in a step.")] = _CLASSIFIER.batch,
    rate: Annotated[float, typer.Option(help="Highest learning rate.")] = _CLASSIFIER.rate,
    leave_out: _LeaveOut = None,
    start: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="FILE",
            help="Safetensors of the same network to start from, such as "
            "weights/classifier.safetensors.",
        ),
    ] = None,
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained",
            help="Start a network of timm's from ImageNet weights of its hub, not from chance. "
            "leucocytenet and efficientnet-lite0 start from ImageNet in any case.",
        ),
    ] = False,
    stages: Annotated[
        int, typer.Option(min=1, max=7, help="Stages of leucocytenet.")
    ] = _CLASSIFIER.stages,
    head: Annotated[
        int, typer.Option(min=1, help="Channels of the head of leucocytenet.")
    ] = _CLASSIFIER.head,
    frozen: Annotated[
        int,
        typer.Option(min=0, help="First blocks of leucocytenet that stay as ImageNet has them."),
    ] = _CLASSIFIER.frozen,
    device: _Device = "auto",
    workers: _Workers = 2,
) -> None:
    """Train a network that names cells.

    Writes OUT/classifier.safetensors (averaged weights, after every epoch) and, at the end,
    OUT/card.json: recipe, data with licences, size, validation accuracy, temperature.
    """
    recipe = ClassifierRecipe(
        arch=arch,
        epochs=epochs,
        crops=crops,
        batch=batch,
        rate=rate,
        stages=stages,
        head=head,
        frozen=frozen,
        pretrained=pretrained,
        start=start,
        leave_out=tuple(leave_out or ()),
    )
    sized = (stages, head) != (_CLASSIFIER.stages, _CLASSIFIER.head)
    if sized and arch != _CLASSIFIER.arch:
        stop(f"--stages and --head are options of {_CLASSIFIER.arch} alone")
    folder = out or Path("runs") / ("classifier" if arch == _CLASSIFIER.arch else arch)
    with _one_line(folder):
        from wbcdet.training.classifier_run import begin, complete

        run = begin(prepared, folder, recipe, device)
        if run.finished:
            print(f"{folder}: this training is finished; give another --out to train again")
        card = complete(run, prepared, workers)
        _print_end(folder, card, f"validation accuracy {_percent(card['validation']['accuracy'])}")


@app.command(cls=Command, epilog=NOTICE)
@as_command
def detector(
    prepared: _Prepared = Path("prepared"),
    out: _Out = None,
    model: Annotated[str, typer.Option(help="Network, an ultralytics YAML.")] = _DETECTOR.model,
    start: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="coco|FILE",
            help="What to start from: coco for ultralytics' own weights of the network; a "
            "checkpoint (.pt); or safetensors, as weights/detector.safetensors, also of a network "
            "with another head. Without it, from chance.",
        ),
    ] = None,
    size: Annotated[
        int, typer.Option(min=64, help="Side of a validation scene, px.")
    ] = _DETECTOR.size,
    sizes: Annotated[
        list[int] | None,
        typer.Option(
            "--scene-size",
            min=64,
            help="Side of training scenes, px; given several times, batches take one of them. "
            f"Default: {', '.join(map(str, _DETECTOR.sizes))}.",
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[int, typer.Option(min=1, help="Epochs.")] = _DETECTOR.epochs,
    hours: Annotated[
        float | None, typer.Option(help="Train this long instead; the epochs are fitted to it.")
    ] = None,
    scenes: Annotated[int, typer.Option(min=1, help="Scenes in an epoch.")] = _DETECTOR.scenes,
    batch: Annotated[int, typer.Option(min=1, help="Scenes in a step.")] = _DETECTOR.batch,
    rate: Annotated[float, typer.Option(help="Learning rate of AdamW.")] = _DETECTOR.rate,
    leave_out: _LeaveOut = None,
    device: _Device = "auto",
    workers: _Workers = 2,
) -> None:
    """Train the network that finds white cells.

    It sees scenes composed of the training fields. Writes OUT/weights/last.pt after every epoch
    and, at the end, OUT/card.json.
    """
    folder = out or Path("runs/detector")
    with _one_line(folder):
        from wbcdet.training.detector_run import train_detector
        from wbcdet.training.start_weights import COCO, coco_weights

        given = None if start is None else coco_weights(model) if start == COCO else Path(start)
        recipe = DetectorRecipe(
            model=model,
            start=given,
            size=size,
            sizes=tuple(sizes or _DETECTOR.sizes),
            epochs=epochs,
            scenes=scenes,
            hours=hours,
            batch=batch,
            rate=rate,
            leave_out=tuple(leave_out or ()),
        )
        card = train_detector(prepared, folder, recipe, device, workers)
        _print_end(folder, card, f"AP50 on validation scenes {card['validation']['ap50']:.3f}")


def _percent(value: float | None) -> str:
    return "unknown (no validation cell is left)" if value is None else f"{100 * value:.1f} %"


def _print_end(folder: Path, card: JsonObject, figure: str) -> None:
    print(
        f"{folder / card['file']}: {card['name']}, {card['parameters'] / 1e6:.2f} million "
        f"parameters, {figure}; card in {folder / 'card.json'}"
    )


@contextmanager
def _one_line(folder: Path) -> Iterator[None]:
    """Turn every error that stops a training into one line."""
    try:
        yield
    except KeyboardInterrupt:
        stop("stopped; the same command goes on from the last whole epoch", EXIT_INTERRUPTED)
    except TrainingError as error:
        stop(str(error))
    except ImportError as error:
        stop(missing(error, "training", "train"))
    except OSError as error:
        stop(f"{error.filename or folder}: {error.strerror or error}")
