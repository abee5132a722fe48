"""Where attention goes: sinks, how they move, and what happens without them."""
