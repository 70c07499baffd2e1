"""`python -m gatehouse`: the command line."""

from gatehouse.cli.main import main

if __name__ == "__main__":
    main()
