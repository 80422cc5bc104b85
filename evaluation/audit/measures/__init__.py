"""What an audit measures of scores and labels, and how it tests it."""
