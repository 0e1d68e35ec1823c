"""One short file per verb, each with `run(config) -> exit code`: the only code that joins the parts."""
