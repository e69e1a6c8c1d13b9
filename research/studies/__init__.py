"""Studies that take longer than a build of the book may; `research.cache` keeps what they found."""
