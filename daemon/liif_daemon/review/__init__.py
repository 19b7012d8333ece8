"""`liif-daemon review`: a page on this machine that shows what was restored, and takes it back."""
