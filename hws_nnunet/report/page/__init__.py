"""The pages of a report: what they say, their figures, Markdown and HTML."""
