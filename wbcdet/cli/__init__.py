"""The ``wbcdet`` command: one file a command, and what they share in ``options``."""


def main() -> None:
    """Run the command; the console script."""
    import gc

    from wbcdet.utils.standard_streams import fill_closed
    from wbcdet.utils.stopping import stops_at_once

    fill_closed()  # before any file is opened
    # What is loaded stays: to look through all of it for garbage again and again takes time, and
    # once more at the end, when the system takes back all memory anyhow.
    gc.freeze()
    gc.set_threshold(100_000)
    with stops_at_once():
        from wbcdet.cli.app import main as run
    try:
        run()
    finally:
        gc.freeze()
