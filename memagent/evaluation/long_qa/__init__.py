"""`memagent bench long-qa`: questions about contexts of 10,000 tokens and more, by kind of memory, budget and length.

`run` measures (`bench`); `settings` says what can be asked for, `memories` how a memory is written, `views` what each method
shows of it, `answers` how a model answers from that, `items` what is kept of every question, and `report` what is printed.
"""
