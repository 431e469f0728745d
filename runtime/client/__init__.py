"""The far side of Triton: `pipeline(task, "triton://host:8001/name")` answers as the local pipeline does."""
