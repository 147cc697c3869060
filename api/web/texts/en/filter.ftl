filter-all = All
filter-show = Show
filter-clear = Clear the filters
