"""The ``wbcdet`` command: one file a command, and what they share in ``options``."""


def main() -> None:
    """Run the command; the console script."""
    try:
        _main()
    except KeyboardInterrupt:  # before the command watches for it, or while it says that it ends
        import sys

        from wbcdet.utils.stopping import end_with

        end_with(130)
        print("wbcdet: stopped", file=sys.stderr)
        raise SystemExit(130) from None


def _main() -> None:
    import gc

    from wbcdet.utils.standard_streams import fill_closed
    from wbcdet.utils.stopping import end_with, stops_at_once

    fill_closed()  # before any file is opened
    # What is loaded stays: to look through all of it for garbage again and again takes time, and
    # once more at the end, when the system takes back all memory anyhow.
    gc.freeze()
    gc.set_threshold(100_000)
    with stops_at_once():
        from wbcdet.cli.app import main as run
    try:
        run()
    except SystemExit as ended:
        end_with(ended.code)
        raise
    finally:
        gc.freeze()
