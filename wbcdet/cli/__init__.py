"""The ``wbcdet`` command: one file a command, and what they share in ``options``."""


def main() -> None:
    """Run the command; the console script."""
    from wbcdet.utils.stopping import stops_at_once

    with stops_at_once():
        from wbcdet.cli.app import main as run
    run()
