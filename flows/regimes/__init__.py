"""Regimes: the same problem around several models, from those that know nothing of it to those that know it all."""
