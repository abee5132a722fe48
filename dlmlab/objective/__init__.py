"""What a diffusion language model is trained on: noise, batches, the loop, and bounds of the likelihood."""
