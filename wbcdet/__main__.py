"""``python -m wbcdet`` is the ``wbcdet`` command."""

from wbcdet.cli import main

if __name__ == "__main__":
    main()
