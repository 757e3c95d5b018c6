"""What a run leaves behind: tables, the result folder, traces, figures and the summary."""
