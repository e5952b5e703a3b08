"""One thin main per step of a recipe: parse, call, report."""
