"""An endpoint for a run's models that speaks OpenAI's protocol: `thickets serve`."""
