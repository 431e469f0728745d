"""Text generation: slots of key/value memory, the scheduler that fills them, and HF's sampling mathematics in numpy."""
