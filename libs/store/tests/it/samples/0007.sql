-- A second image of the sample's project.
update projects set more_images = {file more_images} where id = {id 4};
