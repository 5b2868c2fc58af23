// enrollments
