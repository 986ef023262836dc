"""The command line of featx: parsing, progress and printing. No science."""
