"""``python -m wbcdet`` is the ``wbcdet`` command."""

from wbcdet.cli.app import main

if __name__ == "__main__":
    main()
