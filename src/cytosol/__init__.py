"""An embedded, local-first JSON database whose devices find each other and keep in sync."""
