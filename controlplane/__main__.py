"""`python -m controlplane`: the same as the command `controlplane`."""

from controlplane.cli.entry import main

if __name__ == "__main__":
    main()
