"""Time: the plan of a layer, the event engine that plays it, and what it costs."""
