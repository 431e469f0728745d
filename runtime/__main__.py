"""`python -m runtime ...` is `onward ...`."""

from runtime.cli import main

if __name__ == "__main__":
    main()
