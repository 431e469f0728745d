"""The engines that people would otherwise use, each in a virtual environment of its own.

A peer is a module here with `prepare(checkpoint, output, precision)`, which turns a checkpoint into what the peer
runs, and `decode(model, prompt, new, batch, precision)`, which measures it. Both run in the peer's environment, where
onward is not installed: these modules import nothing but the standard library, numpy and the peer.
"""
