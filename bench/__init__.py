"""Figures, each beside its bound or a peer in the same run, so that another machine gives the same verdict."""
