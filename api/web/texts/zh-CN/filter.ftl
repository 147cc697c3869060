filter-all = 全部
filter-show = 显示
filter-clear = 清除筛选条件
