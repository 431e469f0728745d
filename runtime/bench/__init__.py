"""`onward bench`: bundles beside each other and beside their source, each in a fresh process, rounds interleaved."""
