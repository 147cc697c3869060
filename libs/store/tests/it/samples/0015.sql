-- What people should know of the attempt that failed.
update attempts set remarks = {file remarks} where job_id = {id 17} and epoch = 2;
