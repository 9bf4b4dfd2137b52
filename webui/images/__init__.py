"""Pictures outside the model: reading, sizes, masks, PNG text, saving. PIL, numpy and OpenCV, never torch."""
