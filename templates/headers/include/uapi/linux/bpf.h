/* Empty on purpose: BCC brings its own copy of it. */
