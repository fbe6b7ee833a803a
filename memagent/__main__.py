"""`python -m memagent`: the command line, where the `memagent` script is not on the PATH."""

from memagent.cli.main import main

if __name__ == "__main__":
    main()
