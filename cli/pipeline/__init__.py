"""Steps of a review's jobs that need the settings; the jobs themselves are the scripts in `tools/review/`."""
