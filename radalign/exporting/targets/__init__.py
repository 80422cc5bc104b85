"""One file for each project that exported networks go to; being here is what registers a target."""
