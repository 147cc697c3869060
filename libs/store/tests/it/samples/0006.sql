-- What an attempt built.
update attempts set built = {file built} where job_id = {id 17} and epoch = 2;
