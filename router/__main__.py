"""`python -m router` is the command `nearfar`."""

from router.cli import main

if __name__ == "__main__":
    main()
