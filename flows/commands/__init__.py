"""The commands of `thickets`: what each takes, and what it prints.

They import what they need when they run: `thickets --help` must not wait for PyTorch and Prefect.
"""
