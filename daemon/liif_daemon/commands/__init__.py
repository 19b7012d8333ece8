"""Commands of ``liif-daemon`` that want room of their own; `cli` has the others, and registers these."""
