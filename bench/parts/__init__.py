"""What the stages of the pipeline take, each alone and all at work (`bench.stages`)."""
